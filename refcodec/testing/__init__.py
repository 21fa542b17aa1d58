"""Hypothesis strategies for tests of programs that read or write RFV: `pip install "refcodec[test]"`."""
