"""What there is in an AWS account, whether a stack knows it or not."""
