// Package audit looks at preference data before it is trusted: how far those who judged agree with each other and
// with a judge, which labels a trained model finds turned round, which rows repeat or contradict each other, and which
// training pictures are in the held-out set too. It changes nothing: it returns a report and says which rows it would keep.
package audit
