"""What runs the containers of a host: a table of what differs, and the settings of each."""
