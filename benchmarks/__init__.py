"""Speed, as ratios within one run. Peers are installed in environments of their own, never in the project's."""
