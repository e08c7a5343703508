"""Rollouts in simulated time, which waits for the policy: trials, demonstrations, replays."""
