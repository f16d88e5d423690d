"""The Delta tables read without Spark, for one user at a time (delta-rs)."""
