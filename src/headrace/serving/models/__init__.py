"""Bodies of requests and answers, by resource, with an example each."""
