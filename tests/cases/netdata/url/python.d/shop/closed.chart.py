raise ImportError("it is off, so nobody imports it")
