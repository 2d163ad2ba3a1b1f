"""Files that runs begin with: fetched once, kept in a cache of this host, unpacked for each run anew."""
