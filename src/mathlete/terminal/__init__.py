"""What a person sees in a terminal: the live view, tables, stored traces."""
