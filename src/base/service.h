/* Words to the program that started this one: systemd, or what does as it does. */
#ifndef REGENT_BASE_SERVICE_H
#define REGENT_BASE_SERVICE_H

/* "READY=1", "STOPPING=1": to whoever wants to know. */
void service_notify(const char *state);

#endif
