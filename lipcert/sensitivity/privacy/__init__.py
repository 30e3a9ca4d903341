"""From sensitivities to privacy: noise, its allocation, and accounting."""
