"""What verdicts rest on besides the claims and the rule: placebos, multipliers, the runs of Yun's own family."""
