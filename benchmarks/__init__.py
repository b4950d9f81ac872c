"""Speed, as ratios within one run. Peers are installed in environments of their own, never in the project's.

    python -m benchmarks.actors    # messages, latency beside a flood, memory
    python -m benchmarks.sagas     # three-step sagas on SQLite

What each measures, and what it is compared to, is in README.md beside this file.
"""
