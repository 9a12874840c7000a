# The compendium with its environment: `docker build --tag deepfake-repro .`, then
# `docker run --interactive --tty deepfake-repro` runs the whole pipeline of the demo.
# The locked packages bring their own libraries; beyond Python they need git and make only.
FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /deepfake-repro
COPY . .
RUN make environment
ENV PATH="/deepfake-repro/.venv/bin:$PATH"
CMD ["make", "repro"]
