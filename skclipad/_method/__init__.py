"""The paper and WinCLIP: words, prompts, the network, scores, references, maps."""
