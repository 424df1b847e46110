"""Texts and questions that quality is measured with."""
