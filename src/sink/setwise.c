#include "postgres.h"
#include "sink/setwise.h"
bool flo_setwise_write(FloGather *gather) { return false; }
