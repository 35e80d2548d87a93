"""What QAgent does: plans changes, has them written, judges, improves, reviews, applies and undoes them."""
