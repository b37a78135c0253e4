"""The colours of what is normal and what is anomalous, wherever something is drawn."""

# Orange and blue stay apart for colour-blind readers.
NORMAL, ANOMALOUS = "#0072b2", "#d55e00"
