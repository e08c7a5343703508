"""Videos and what is known of them: probing, calibration files, HOT3D."""
