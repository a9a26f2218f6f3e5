"""What runs a connector: scheduling, a lane for each device, commands and their refusals."""
