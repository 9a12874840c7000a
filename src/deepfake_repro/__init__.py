"""deepfake-repro: a reproducible compendium of deepfake detection that generalises.

Each package imports only packages before it in this list: project · corpora, faces · crops ·
dataset, exchange, demo · training · evaluation · methods · report, operations · scoring, teaching ·
cli. The sections of the paper (Mylonas & Papadopoulos 2025) and their code:

=======================  ====================================================  ===================
paper                    modules                                               notebook
=======================  ====================================================  ===================
3.1, 4.1, 4.2 corpora    ``corpora``, ``dataset.index``, ``dataset.tables``    01_corpora
4.1 pre-processing       ``faces``, ``crops``                                  02_crops
4.1 dataset sampling     ``dataset.sampling``                                  03_sampling
3.2 FSFM pre-training    ``methods.fsfm``                                      03b_pretrain
3.2 initialisation       ``training.checkpoints``, ``operations.weights``      05_finetune
3.3 training objectives  ``training.losses``                                   04_triplets
3.4 attribution          ``training.labels``                                   05_finetune
4.3 implementation       ``methods.finetune``, ``training``                    05_finetune
4.3 the SBI baseline     ``methods.sbi``                                       05b_sbi
4.3 video-level metrics  ``evaluation.prediction``, ``evaluation.metrics``     06_predict
5 results                ``report.tables``, ``report.figures``, ``evaluation``  07_results
5 every sentence         ``report.claims``, ``report.ledger``                  07_results
5.3 the fixed threshold  ``evaluation.thresholds``, ``evaluation.breakdown``   07_results
second paper: method     ``methods.lnclip``                                    09_layernorm_clip
second paper: results    ``report.benchmarks``                                 07_results
your own videos          ``scoring``                                           10_score_your_video
=======================  ====================================================  ===================

``demo`` builds the embedded benchmark from licensed assets (``operations.assets``,
``faces.landmarks``). ``evaluation.robustness`` perturbs test crops, and ``operations.studies``
varies parameters. ``report.cards`` and ``report.page`` present the results. ``exchange`` converts
to and from the formats of DeepfakeBench and GenD. ``teaching`` supports the notebooks. ``project``
serves every step.
"""
