"""The only room that runs condor commands or imports htcondor2."""
