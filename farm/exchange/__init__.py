"""What comes from others and goes to them: bundles, imports, exports."""
