"""What the words of HTCondor and of osgbatch mean, as tables of plain sentences."""
