"""Object stores: keys and bytes that several servers share, in a folder or by S3."""
