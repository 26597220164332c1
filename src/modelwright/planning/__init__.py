"""Pure numbers: counts of parameters and FLOPs, learning curves and their forecasts."""
