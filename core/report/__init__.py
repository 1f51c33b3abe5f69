"""What a person looks at: terminal output, plots and pages."""
