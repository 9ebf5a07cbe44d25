"""Dispatches numbers, meta data, names, times and intervals of all kinds once, and writes what was refused to $DIR/out.txt."""
import collectd, os, sys
out=open(os.environ['DIR']+'/out.txt','w')
def p(*a):
    out.write(' '.join(str(x) for x in a)+'\n'); out.flush()
def t(label, f):
    try: r=f(); p('OK ',label,'->',ascii(r))
    except BaseException as e: p('EXC',label,'->',type(e).__name__+':',ascii(str(e)))
V=collectd.Values; N=collectd.Notification; C=collectd.Config; PD=V.__mro__[1]
import collections, decimal, fractions, types
def cfg(c): p('cfg',c.key,c.values,c.parent)
collectd.register_config(cfg)
class IntLike:
    def __int__(self): return 7
class Idx:
    def __index__(self): return 8
class Trunc:
    def __trunc__(self): return 9
class Flt:
    def __float__(self): return 1.25
class L(list): pass
n=[0]
def once():
    n[0]+=1
    if n[0]>1: return
    def d(label,**k):
        v=V(plugin='disp',plugin_instance=label,type='gauge',host='h2')
        t('d '+label,lambda:v.dispatch(**k))
    d('dec',values=[decimal.Decimal('1.5')])
    d('frac',values=[fractions.Fraction(1,4)])
    d('intlike',values=[IntLike()])
    d('idx',values=[Idx()])
    d('flt',values=[Flt()])
    d('bytes',values=[b'3.5'])
    d('bytearr',values=[bytearray(b'3.5')])
    d('strsp',values=[' 3.5 '])
    d('under',values=['1_000'])
    d('inf',values=['inf'])
    d('hex',values=['0x10'])
    d('bigint',values=[10**400])
    d('big',values=[10**300])
    d('cplx',values=[1j])
    d('tuple',values=(1,))
    d('sub',values=L([2]))
    d('gen',values=(x for x in [1]))
    d('empty',values=[])
    d('two',values=[1,2])
    d('emptystr',values=[''])
    d('nested',values=[[1]])
    d('bool',values=[True])
    d('derive intlike',type='derive',values=[IntLike()])
    d('derive idx',type='derive',values=[Idx()])
    d('derive trunc',type='derive',values=[Trunc()])
    d('derive flt',type='derive',values=[Flt()])
    d('derive dec',type='derive',values=[decimal.Decimal('-3.9')])
    d('derive bytes',type='derive',values=[b'35'])
    d('derive neg',type='derive',values=[-5])
    d('derive sp',type='derive',values=[' 12 '])
    d('derive min',type='derive',values=[-2**63])
    d('derive max',type='derive',values=[2**63-1])
    d('counter max',type='counter',values=[2**64-1])
    d('counter 2^63',type='counter',values=[2**63])
    d('counter fl',type='counter',values=[1e19])
    d('counter str',type='counter',values=['-1'])
    d('abs',type='absolute',values=[12.7])
    d('abs str',type='absolute',values=['x'])
    d('abs none',type='absolute',values=[None])
    d('counter cplx',type='counter',values=[1j])
    d('octets',type='if_octets',values=[1,'2'])
    d('octets partial',type='if_octets',values=[1,None])
    d('octets neg',type='if_octets',values=[1,-4])
    d('mixed',type='io_packets',values=[1.9,2])
    for i,m in enumerate([{'a':1,'b':-1,'c':2**63,'d':2**64},{'x':True,'y':None,'z':[1]},{5:1,None:2,('a',):3,'z':1},
              {'Key':1,'key':2,'KEY':'x'},{'s':collectd.Signed(5),'u':collectd.Unsigned(5),'sb':collectd.Signed(2**63)},
              {'dec':decimal.Decimal('1.7'),'fr':fractions.Fraction(7,2)},
              {'bad':1,'ok':1},{'nul':'a\0b','n\0ul':1},{'sur':1},{'':'empty','sp ace':'x','k'*200:'v'*200},
              {b'bytes':b'b',bytearray and 'ba':bytearray(b'x')},{'idx':Idx(),'il':IntLike(),'nd':decimal.Decimal(10)**30,'un':collectd.Unsigned(-1),'neg':-2**63-1},{'cls':V,'v':V(),'d':{'a':1}},
              {}, None, {'int64':-2**63,'u64':2**64-1,'f':1e308,'big':1e22}]):
        d('meta%d'%i,values=[i],meta=m)
    class D(dict): pass
    class E(dict):
        def items(self): return [('fake',1)]
    d('metasub',values=[1],meta=D(a=1))
    d('metasub2',values=[1],meta=E(a=1))
    d('metaod',values=[1],meta=collections.OrderedDict(a=1))
    d('metamp',values=[1],meta=types.MappingProxyType({'a':1}))
    d('metalist',values=[1],meta=[('a',1)])
    d('metafalse',values=[1],meta=False)
    d('meta0',values=[1],meta=0)
    d('metastr',values=[1],meta='')
    d('pi none',values=[1],type_instance=None)
    d('type none',values=[1],type=None)
    d('plugin slash',values=[1],plugin='a/b/c')
    d('plugin root',values=[1],plugin='/')
    d('plugin //',values=[1],plugin='//')
    d('ti slash',values=[1],type_instance='/var/log/')
    d('ti dash',values=[1],type_instance='a-b')
    d('ti space',values=[1],type_instance='  ')
    d('host slash',values=[1],host='/a/b')
    d('plugin empty',values=[1],plugin='')
    d('host empty',values=[1],host='')
    d('t neg',values=[1],time=-5)
    d('t far',values=[1],time=4e9)
    d('t far2',values=[1],time=1.5e10)
    d('t far3',values=[1],time=1e11)
    d('t inf',values=[1],time=float('inf'))
    d('t nan',values=[1],time=float('nan'))
    d('t one',values=[1],time=1)
    d('t frac',values=[1],time=1234567890.123456)
    d('i far',values=[1],interval=1e9)
    d('i frac',values=[1],interval=0.1)
    d('i tiny',values=[1],interval=1e-12)
    d('i inf',values=[1],interval=float('inf'))
    d('i true',values=[1],interval=True)
    d('pos', **{'values':[1],'time':0,'interval':0})
    v=V('gauge',[1],'posi','ti','disp','h2',0,3,{'m':1})
    t('pos disp',lambda:v.dispatch('derive',(4,),'posi2','ti2','disp2','h22',100,7,{'n':2}))
    t('still',lambda:v)
    v.plugin='';v.type_instance='dflt'; t('noplug',lambda:v.dispatch())
    class S(V):
        pass
    s=S('gauge',plugin='disp',host='h2',plugin_instance='subcls'); s.values.append(4); t('subd',lambda:s.dispatch())
collectd.register_read(once,name='once')
p('done')
