"""How a node is told which folder is its own."""

DEVICE_DIR = "device-dir"
"""Key of a node's configuration: the folder that is the node's own."""
FOLDER_VARIABLE = "SIM_DEVICE_DIR"
"""Variable of the environment: the folder of all nodes of a machine."""
