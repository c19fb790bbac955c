"""The engines that carry messages between cloud and devices."""
