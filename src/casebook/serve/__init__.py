"""Step 6: the model behind a service, its online store, and the load that shows what they do.

Import from the modules: ``store`` (online key-value store), ``service`` (the scoring service), ``artefact`` and ``run``
(package a scorer, start replicas of it), ``balance`` and ``load`` (policies, Poisson load), ``latency`` and ``export``.
This file imports nothing, so that a replica starts without what only the notebooks need.
"""
