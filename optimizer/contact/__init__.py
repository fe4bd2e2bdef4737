"""Contact policy: which arms remain for a customer, and at which times, with a reason for each arm that does not."""
