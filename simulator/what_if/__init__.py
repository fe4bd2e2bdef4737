"""What if: the value of a changed configuration on the logged decisions of a campaign, and the price of its rules."""
