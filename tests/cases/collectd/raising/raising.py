"""Raises all kinds of exceptions in read callbacks; its blocks are in several files."""
import collectd, os, sys
out=open(os.environ['DIR']+'/out.txt','w')
def p(*a):
    out.write(' '.join(str(x) for x in a)+'\n'); out.flush()
def t(label, f):
    try: r=f(); p('OK ',label,'->',ascii(r))
    except BaseException as e: p('EXC',label,'->',type(e).__name__+':',ascii(str(e)))
V=collectd.Values; N=collectd.Notification; C=collectd.Config; PD=V.__mro__[1]
def tree(c, d=0):
    p('  '*d, ascii(c.key), ascii(c.values)) 
    for k in c.children: tree(k,d+1)
collectd.register_config(tree)
collectd.register_config(tree,name='other')
class Loud(Exception):
    def __str__(self): return 'multi\nline'
def r1(): raise Loud()
def r2(): raise collectd.CollectdError
def r3(): raise collectd.CollectdError('a','b')
class Sub(collectd.CollectdError): pass
def r4(): raise Sub('sub err')
def r5(): sys.exit()
def r6(): raise KeyboardInterrupt
def r7():
    try: 1/0
    except ZeroDivisionError as e: raise ValueError('chained') from e
def r8(x): pass
def r9(): raise KeyError('key')
def r11(): raise UnicodeDecodeError('utf-8',b'\xff',0,1,'bad')
def r12(): raise OSError(2,'No such file','/x')
def r13(): raise Exception()
def r14(): raise SyntaxError('bad syn')
def r15(): assert False
def r17(): raise RuntimeError('x'*1500)
def r18(): raise GeneratorExit('g')
def r19(): raise StopIteration(5)
class Outer:
    class Inner(Exception): pass
def r21(): raise Outer.Inner('inner')
def r24(): V(type='gauge').dispatch(values=[1,2])
for n,f in sorted(globals().items()):
    if n.startswith('r') and n[1:].isdigit(): collectd.register_read(f,100,name=n)
