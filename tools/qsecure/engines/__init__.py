"""The scanners QSecure runs, each behind the same port."""
