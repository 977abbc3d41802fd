/* How the operating system shares the cores between the node's threads. */
#ifndef REGENT_EDGE_PRIORITY_H
#define REGENT_EDGE_PRIORITY_H

/* For the calling thread. A loop asks for short turns on its core, so that it waits less for the next one and lets
 * others in sooner; a lane takes what loops leave. What the kernel does not know or allow is left as it is. */
void priority_of_loop(void);
void priority_of_lane(void);

#endif
