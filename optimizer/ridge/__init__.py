"""Second-order learners: ridge regressions of rewards on the crosses of context and arm."""

from optimizer.ridge.regression import LAMBDAS, Ridge, block_end

__all__ = ["LAMBDAS", "Ridge", "block_end"]
