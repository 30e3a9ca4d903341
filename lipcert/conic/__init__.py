"""Matrix inequalities of LipSDP type: their data, a structured solver, and a reference."""
