"""The pure core: values and rules; knows no clock, network, disk or SQL."""
