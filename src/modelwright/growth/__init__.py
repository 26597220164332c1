"""Growth: a trained network carried over into a wider and deeper one that gives the same outputs."""
