"""What tools/check_sources.py checks: files, prose, notebooks, designs. Each check returns its complaints."""
