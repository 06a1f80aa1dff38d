"""Counters: what instances count of their calls, and what they publish of it.

On the path of calls, ``tally`` counts into ``accumulators``, and ``instance`` holds all tallies. As
values that can be added up and published there are ``counts``, ``upstream_counts``,
``shadow_result`` and, of the subjects of ``watched_flags``, ``subject_counts``. ``published``
exchanges them through the shared store with the ``known_instances``.
"""
