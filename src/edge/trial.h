/* A version that is tried beside the one that answers, or watched after it took over. */
#ifndef REGENT_EDGE_TRIAL_H
#define REGENT_EDGE_TRIAL_H

struct trial;
void trial_release(struct trial *t);

#endif
