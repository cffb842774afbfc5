"""Git providers played on loopback: stateful, each with the real one's addresses, answers, events and signatures."""
