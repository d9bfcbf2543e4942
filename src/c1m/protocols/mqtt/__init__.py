"""MQTT 3.1.1 and 5 (OASIS, 2014 and 2019), QoS 0 and 1, without I/O: packets one by one and in
arrays, for clients and servers. Pure."""
