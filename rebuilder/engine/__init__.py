"""The only place where things happen: intake, planning, dispatch, watch, and the loop."""
