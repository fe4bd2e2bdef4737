"""Files of logged decisions: read into `optimizer.evaluation.log.Log` chunk by chunk, and written."""
