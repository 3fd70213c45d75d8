"""What agents touch the world with: files of one folder, and programs in a sandbox."""
