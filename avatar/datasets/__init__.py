"""Published capture-dome data sets, read in their own layouts."""
