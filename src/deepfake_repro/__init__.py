"""deepfake-repro: a reproducible compendium of deepfake detection that generalises.

The map from the paper (Mylonas & Papadopoulos 2025) to the code, in the order of the flow:

========================  ===============================================  =====================
paper                     module                                           notebook
========================  ===============================================  =====================
3.1, 4.1, 4.2 corpora     ``corpora``, ``corpus_tables``                   ``01_corpora``
4.1 pre-processing        ``video``, ``faces``, ``crops``, ``preprocess``  ``02_crops``
4.1 dataset sampling      ``sampling``                                     ``03_sampling``
3.2 FSFM pre-training     ``masking``, ``fsfm``, ``pretraining``           ``03b_pretrain``
3.2 initialisation        ``model``, ``weights``                           ``05_finetune``
3.3 training objectives   ``losses``                                       ``04_triplets``
3.4 attribution           ``attribution``                                  ``05_finetune``
4.3 implementation        ``training``, ``augment``, ``dataset``           ``05_finetune``
4.3 the SBI baseline      ``sbi``, ``sbi_faces``, ``sbi_training``         ``05b_sbi``
4.3 video-level metrics   ``prediction``, ``metrics``                      ``06_predict``
5 results                 ``tables``, ``statistics``, ``figures``          ``07_results``
5, every sentence         ``claims``, ``ledger``, ``studies``              ``07_results``
5.3 the fixed threshold   ``calibration``, ``breakdown``                   ``07_results``
second paper, method      ``lnclip``, ``lnclip_training``, ``pairing``     ``09_layernorm_clip``
second paper, benchmarks  ``benchmarks``                                   ``07_results``
one's own videos          ``score``, ``operating_points``, ``export``      ``10_score_your_video``
========================  ===============================================  =====================

``demo`` makes the embedded benchmark out of licensed assets (``assets``, ``landmarks``);
``robustness`` perturbs test crops, ``cards`` and ``html_report`` are for readers of the results;
``interchange`` speaks DeepfakeBench's and GenD's formats, ``lessons`` and ``exercises`` serve the class;
``params``, ``progress``, ``provenance`` and ``notebooks`` serve every step.
"""
