"""Policies on infrastructure, written in Rego: packs, their evaluation in a bounded process, and exceptions."""
